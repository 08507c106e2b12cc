"""The REST interface: reads the read model in Redis, writes events and labels to Kafka. FastAPI."""
