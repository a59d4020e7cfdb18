"""The law tasks: thin; each loads its inputs, makes one call into the library, and writes its outputs."""
