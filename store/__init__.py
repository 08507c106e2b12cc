"""Redis (keys, writer, reader), artifact storage, and reading the model log. The only layer that knows these stores."""
