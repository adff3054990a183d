"""The demo: from nothing to an assistant that answers, on a cluster made for it or on one that the user has.

Read `story` first: it tells what happens in which order. It uses what users use (container images, helm, kubectl and
the samples), so that whatever it shows can be done by hand.
"""
