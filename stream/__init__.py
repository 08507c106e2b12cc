"""PyFlink: the topologies, their thin operators, their ends in Kafka, and the jobs' entry point."""
