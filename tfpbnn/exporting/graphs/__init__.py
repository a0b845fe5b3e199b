"""Draws become graphs that serve: cut, fixed, and as servers need them.

`draws` makes them for each request, `fixed` once for all, `hoisted` computes
at the export what no request changes, and `cutting` takes a graph apart. To
add a way of drawing: a class with the methods of `draws.ExportedDraws`. To
simplify graphs: a file with a function from graph to graph.
"""
