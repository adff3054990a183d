"""`python -m assistant_operator` is the same as the `assistant-operator` command."""

from assistant_operator.cli import main

if __name__ == "__main__":
    main()
