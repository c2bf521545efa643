"""What a command shows: phases, time left and progress while it works, and its end. Input: progress; output: text."""
