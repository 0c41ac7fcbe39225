"""The engine in the box: llama.cpp's own server in a supervised child process.

Rooms: ``settings`` what a person may choose; ``errors`` what can go wrong, one line each;
``model_file`` what the GGUF says about itself; ``memory`` whether it fits; ``child`` the program in
the child process; ``process`` one life of one child; ``log_tail`` its log; ``health`` whether it
answers; ``backoff`` when to try again; ``status`` its states; ``supervisor`` start, watch, restart,
stop.

Nothing is imported here: the API can import the supervisor on a platform that has no engine.
"""
