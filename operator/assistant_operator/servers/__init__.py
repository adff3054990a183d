"""Servers that more than one room may run, each as functions of an instance: Firecrawl has a Redis of its own."""
