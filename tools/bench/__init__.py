"""The benchmark: Bandari beside nginx, the limit, and beside its peers, in one run.

    make bench                  everything, about twenty minutes
    make bench QUICK=1          a short form of everything, under two minutes
    make bench-peers            installs LiteLLM's proxy and Portkey's gateway for the next run

    python -m tools.bench --only a,b --subjects bandari,nginx --repeats 3 --seconds 2 --peers no

Ratios within one run are the result: absolute figures belong to one machine and one hour. The exit
status says whether everything ran, never how fast it was. docs/performance.md has the method.
"""
