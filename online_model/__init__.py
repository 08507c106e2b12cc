"""The model and everything that is a function of the model log. Pure: no I/O, no clock, no Flink."""
