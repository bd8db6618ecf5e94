"""What a machine can do and what code asks of it: counted, measured, modelled."""
