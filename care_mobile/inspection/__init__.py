"""What a model file holds, found without running it: the findings behind `care-inspect`.

`inspector.inspect` is the way in; `results` says what comes out. Nothing is imported here, as
`care-inspect --help` must not wait for numpy.
"""
