"""Server-sent events: predictions, counts and quality as they come, to many clients from one source, none of whom can hold up another."""
