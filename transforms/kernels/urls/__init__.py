"""URLs: their hosts and registered domains, and whether they are on lists."""
