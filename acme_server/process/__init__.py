"""The processes of a running server: a parent, HTTP workers, one background process.

The parent binds the sockets, keeps the database and the children alive, and answers the operator;
it reads nothing from the network that strangers can reach. Children are exec'd, inherit the
sockets, are told everything else through a pipe (``handover``), and talk to the parent over a
socket pair (``channel``).
"""
