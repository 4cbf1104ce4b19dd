"""The CPU: `policy` decides, `run` and `stacked` make the calls on `threads`, `streaming` takes single steps.

Plans are functions in `policy` alone; what threads and interrupts may do to memory is written in `threads`.
"""
