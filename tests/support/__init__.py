"""
Real servers for tests: what they count is what really happened on the wire.

* `certificates`     a CA of our own, and certificates for localhost
* `hypercorn_server` HTTP/1.1 and HTTP/2 in a subprocess, with the app in `app`
* `nginx_server`     HTTP/1.1 and HTTP/2 by somebody else's code
* `counting_server`  HTTP/1.1 in a thread; quick to start, and told how to fail
* `scripted_http1`, `scripted_http2`
                    do what a test's story says, byte by byte or frame by frame; see `scripted`
* `proxy_server`     a forward proxy that remembers what went through it
* `real_proxies`     tinyproxy and microsocks

Everything listens on loopback, on a port the kernel chose.
"""
