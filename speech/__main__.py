"""`python -m speech` is the console command `speech`."""

from speech.commands import main

if __name__ == "__main__":
    main()
