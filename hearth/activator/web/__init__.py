"""The Starlette application that uvicorn serves: everything that a client may ask of the activator."""
