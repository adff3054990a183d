"""What every room shares: the values that it gives and takes, and the constructors of objects."""
