"""The lending desk: judges sellers by their trade, and offers lines that repay themselves."""
