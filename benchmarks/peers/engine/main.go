// An engine that costs little: it streams events at a rate, or answers at once with as many bytes as it got.
//
// X-Events and X-Rate (events a second) in the request make a stream; every event carries when it was sent.
package main

import (
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// About what a chunk of a chat completion takes.
var padding = strings.Repeat("x", 120)

func answer(w http.ResponseWriter, r *http.Request) {
	events, _ := strconv.Atoi(r.Header.Get("X-Events"))
	if events == 0 {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.Write(body)
		return
	}
	io.Copy(io.Discard, r.Body)
	rate, _ := strconv.ParseFloat(r.Header.Get("X-Rate"), 64)
	w.Header().Set("Content-Type", "text/event-stream")
	flusher := w.(http.Flusher)
	var ticks <-chan time.Time
	if rate > 0 {
		ticker := time.NewTicker(time.Duration(float64(time.Second) / rate))
		defer ticker.Stop()
		ticks = ticker.C
	}
	for range events {
		if ticks != nil {
			select {
			case <-ticks:
			case <-r.Context().Done():
				return
			}
		}
		if _, err := fmt.Fprintf(w, "data: {\"t\":%d,\"pad\":\"%s\"}\n\n", time.Now().UnixNano(), padding); err != nil {
			return
		}
		flusher.Flush()
	}
	io.WriteString(w, "data: [DONE]\n\n")
}

func main() {
	listen := flag.String("listen", "", "host:port")
	flag.Parse()
	http.HandleFunc("/health", func(w http.ResponseWriter, r *http.Request) {})
	http.HandleFunc("/", answer)
	log.Fatal(http.ListenAndServe(*listen, nil))
}
