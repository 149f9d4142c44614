"""The reference harness: one round of a plan, measured in a process of its own.

`python -m care_mobile.bench.harness --plan F --round N --launch ID --output F`. It knows the
protocol and the runtimes, and nothing of hosts, sessions or statistics.
"""
