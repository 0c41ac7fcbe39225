"""What is true: values and rules. No I/O, no clock, no async, no framework."""
