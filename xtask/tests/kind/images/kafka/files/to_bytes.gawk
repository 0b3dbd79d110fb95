# A quantity such as 512Mi as bytes. Only the name is the real one's: nothing here asks for it.
{ unit = index("KMGT", substr($1, length($1) - 1, 1)); print ($1 + 0) * 1024 ^ unit }
