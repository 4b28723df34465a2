"""`python -m tsdiff` is the console command `tsdiff`."""

from tsdiff.commands import main

if __name__ == "__main__":
    main()
