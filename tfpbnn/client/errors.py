"""The error that is raised if a server answers with no prediction."""


class ServerError(RuntimeError):
    """An error that the server answered: it was reached, so no retry.

    Attributes:
        code: its name among gRPC's codes, such as "INVALID_ARGUMENT", whichever
            the protocol.
    """

    def __init__(self, code: str, message: str):
        super().__init__(f"The server answered {code}: {message}")
        self.code = code
