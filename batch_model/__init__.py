"""The batch refresh: trains a new base model on the label log, and releases it if it is better. The one package that imports torch."""
