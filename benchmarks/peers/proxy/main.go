// The yardstick: Go's httputil.ReverseProxy, flushing after each write as a proxy of event streams must.
package main

import (
	"flag"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
)

func main() {
	listen := flag.String("listen", "", "host:port")
	target := flag.String("target", "", "URL of the engine")
	flag.Parse()
	to, err := url.Parse(*target)
	if err != nil {
		log.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.SetXForwarded()
		},
		FlushInterval: -1,
		Transport:     &http.Transport{MaxIdleConnsPerHost: 4096, DisableCompression: true},
	}
	log.Fatal(http.ListenAndServe(*listen, proxy))
}
