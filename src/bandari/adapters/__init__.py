"""The outside world: implementations of the ports. Only ``bootstrap`` names them."""
