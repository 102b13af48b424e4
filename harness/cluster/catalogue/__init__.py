"""What providers publish of machines and fields, as of a day: each file names the command that writes it anew."""
