"""A fitted recommender behind HTTP: `genrec serve DIR` (extra ``serve``).

    request -> guard -> route -> batcher -> one thread -> recommender.recommend
               tokens   body     gathers     searches
               limits   checked  requests

Everything that touches a recommender runs in one thread, never on the event loop. A request holds on to the
snapshot it came in under, so a catalog that is replaced meanwhile never mixes with it.

Nothing is imported here: FastAPI, uvicorn and prometheus-client load only where something is served.
"""
