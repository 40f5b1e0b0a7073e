// The load generator: keeps a proxy busy and tells what that cost it, as one line of JSON.
//
//	load stream -url URL -pid PID -streams 200 -events 250 -rate 50
//	load unary  -url URL -pid PID -connections 16 -requests 20000 -bytes 1024
//	load held   -url URL -pid PID -streams 15000 -seconds 30
//	load slow   -url URL -pid PID -slow 500 -seconds 15 -streams 50 -rate 50
//
// The proxy's CPU is read from /proc/PID/stat while the load is steady.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

var (
	target      = flag.String("url", "", "what to ask")
	model       = flag.String("model", "bench-0", "model in the body")
	pid         = flag.Int("pid", 0, "process whose CPU is told")
	streams     = flag.Int("streams", 200, "streams at a time")
	events      = flag.Int("events", 250, "events of each stream")
	rate        = flag.Float64("rate", 50, "events a second of each stream")
	connections = flag.Int("connections", 16, "connections at a time")
	requests    = flag.Int("requests", 20000, "requests in all")
	size        = flag.Int("bytes", 1024, "bytes of a body")
	seconds     = flag.Int("seconds", 30, "how long the held, or the slow, are watched")
	slow        = flag.Int("slow", 500, "clients that read 1 KiB a second")
)

// cpu is the seconds of CPU that the process has used, and rss its resident memory in KiB.
func cpu() float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", *pid))
	if err != nil {
		fail(err)
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+2:]))
	user, _ := strconv.ParseFloat(fields[11], 64)
	system, _ := strconv.ParseFloat(fields[12], 64)
	return (user + system) / 100
}

func rss() float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", *pid))
	if err != nil {
		fail(err)
	}
	pages, _ := strconv.ParseFloat(strings.Fields(string(text))[1], 64)
	return pages * float64(os.Getpagesize()) / 1024
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "load:", err)
	os.Exit(1)
}

func request(to *url.URL, body []byte, extra string) []byte {
	head := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%s\r\n",
		to.Path, to.Host, len(body), extra)
	return append([]byte(head), body...)
}

func dial(to *url.URL) net.Conn {
	connection, err := net.Dial("tcp", to.Host)
	if err != nil {
		fail(err)
	}
	return connection
}

func chat(stream bool, pad int) []byte {
	return fmt.Appendf(nil, `{"model":"%s","stream":%v,"messages":[{"role":"user","content":"%s"}]}`,
		*model, stream, strings.Repeat("x", pad))
}

func tell(figures map[string]float64) {
	text, _ := json.Marshal(figures)
	fmt.Println(string(text))
}

func percentile(sorted []int64, share float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return float64(sorted[min(len(sorted)-1, int(float64(len(sorted))*share))])
}

// sampled looks at the process' memory ten times a second, until stop is called, which gives the most and the last.
func sampled() (stop func() (most, last float64)) {
	over, told := make(chan struct{}), make(chan [2]float64)
	go func() {
		ticks, most := time.NewTicker(100*time.Millisecond), rss()
		defer ticks.Stop()
		for {
			select {
			case <-ticks.C:
				most = max(most, rss())
			case <-over:
				last := rss()
				told <- [2]float64{max(most, last), last}
				return
			}
		}
	}()
	return func() (float64, float64) {
		close(over)
		both := <-told
		return both[0], both[1]
	}
}

// Event streams: CPU between the moment when all streams run and the moment when the first one ends.
func stream(to *url.URL) {
	tell(streamed(to))
}

func streamed(to *url.URL) map[string]float64 {
	extra := fmt.Sprintf("X-Events: %d\r\nX-Rate: %g\r\n", *events, *rate)
	ask := request(to, chat(true, 100), extra)
	var seen, lost atomic.Int64
	var running sync.WaitGroup
	var ended sync.Once
	steady, over := make(chan struct{}), make(chan struct{})
	latencies := make([][]int64, *streams)
	running.Add(*streams)
	var all sync.WaitGroup
	for number := range *streams {
		all.Add(1)
		go func() {
			defer all.Done()
			defer ended.Do(func() { close(over) })
			connection := dial(to)
			defer connection.Close()
			connection.Write(ask)
			answer, err := http.ReadResponse(bufio.NewReader(connection), nil)
			if err != nil || answer.StatusCode != 200 {
				lost.Add(1)
				running.Done()
				return
			}
			lines, first := bufio.NewScanner(answer.Body), true
			done := false
			for lines.Scan() {
				line := lines.Bytes()
				if !bytes.HasPrefix(line, []byte("data: ")) {
					continue
				}
				if bytes.HasPrefix(line, []byte(`data: {"t":`)) {
					now := time.Now().UnixNano()
					sent, _ := strconv.ParseInt(string(line[11:30]), 10, 64)
					latencies[number] = append(latencies[number], now-sent)
					seen.Add(1)
				}
				done = bytes.HasPrefix(line, []byte("data: [DONE]"))
				if first {
					first = false
					running.Done()
				}
			}
			if !done {
				lost.Add(1)
			}
		}()
	}
	go func() { running.Wait(); close(steady) }()
	<-steady
	select {
	case <-over:
		fail(errors.New("the first stream had ended before the last one began: give more -events"))
	default:
	}
	began, before, from := time.Now(), cpu(), seen.Load()
	<-over
	took, used, count := time.Since(began).Seconds(), cpu()-before, seen.Load()-from
	all.Wait()
	var every []int64
	for _, some := range latencies {
		every = append(every, some...)
	}
	sort.Slice(every, func(a, b int) bool { return every[a] < every[b] })
	return map[string]float64{
		"cpu_per_event_us": used / float64(count) * 1e6, "events_per_second": float64(count) / took, "lost": float64(lost.Load()),
		"latency_p50_ms": percentile(every, 0.5) / 1e6, "latency_p99_ms": percentile(every, 0.99) / 1e6,
	}
}

// Clients that read 1 KiB a second of engines that send as fast as they can, and streams beside them, before and then.
func crawl(to *url.URL) {
	ask := request(to, chat(true, 100), "X-Events: 1000000000\r\nX-Rate: 0\r\n")
	alone, before := streamed(to), rss()
	var lost atomic.Int64
	var all sync.WaitGroup
	over := make(chan struct{})
	memory := sampled()
	for range *slow {
		all.Add(1)
		connection := dial(to)
		connection.(*net.TCPConn).SetReadBuffer(4096) // the rest must stay in the proxy, not in this kernel's buffers
		connection.Write(ask)
		go func() {
			defer all.Done()
			defer connection.Close()
			ticks, bytes := time.NewTicker(time.Second), make([]byte, 1024)
			defer ticks.Stop()
			for {
				select {
				case <-over:
					return
				case <-ticks.C:
					// With so small a buffer the kernel lets some wait for seconds: that is slow, not lost.
					connection.SetReadDeadline(time.Now().Add(time.Second))
					if _, err := connection.Read(bytes); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
						lost.Add(1)
						return
					}
				}
			}
		}()
	}
	time.Sleep(time.Duration(*seconds) * time.Second)
	beside := streamed(to)
	most, _ := memory()
	close(over)
	all.Wait()
	tell(map[string]float64{
		"slow_kib": (most - before) / float64(*slow), "alone_p99_ms": alone["latency_p99_ms"],
		"beside_p99_ms": beside["latency_p99_ms"], "lost": float64(lost.Load()) + alone["lost"] + beside["lost"],
	})
}

// Requests one after the other on kept connections.
func unary(to *url.URL) {
	ask := request(to, chat(false, *size-70), "")
	var left, lost atomic.Int64
	left.Store(int64(*requests))
	took := make([][]int64, *connections)
	var all sync.WaitGroup
	idle, memory := rss(), sampled()
	began, before := time.Now(), cpu()
	for number := range *connections {
		all.Add(1)
		go func() {
			defer all.Done()
			connection := dial(to)
			defer func() { connection.Close() }()
			reader := bufio.NewReader(connection)
			for left.Add(-1) >= 0 {
				asked := time.Now()
				connection.Write(ask)
				answer, err := http.ReadResponse(reader, nil)
				var length int64
				if err == nil {
					length, err = new(bytes.Buffer).ReadFrom(answer.Body)
				}
				if err != nil { // go on with as many connections as before
					lost.Add(1)
					connection.Close()
					connection = dial(to)
					reader.Reset(connection)
					continue
				}
				if answer.StatusCode != 200 || length == 0 {
					lost.Add(1)
				}
				took[number] = append(took[number], int64(time.Since(asked)))
			}
		}()
	}
	all.Wait()
	seconds, used := time.Since(began).Seconds(), cpu()-before
	most, last := memory()
	var every []int64
	for _, some := range took {
		every = append(every, some...)
	}
	sort.Slice(every, func(a, b int) bool { return every[a] < every[b] })
	tell(map[string]float64{
		"cpu_per_request_us": used / float64(len(every)) * 1e6, "requests_per_second": float64(len(every)) / seconds,
		"lost": float64(lost.Load()), "latency_p50_ms": percentile(every, 0.5) / 1e6, "latency_p99_ms": percentile(every, 0.99) / 1e6,
		"rss_peak_mib": (most - idle) / 1024, "rss_kept_mib": (last - idle) / 1024,
	})
}

// Cold requests, held: memory and CPU of a heartbeat; then `ready` on standard error, and how long until all are answered.
func held(to *url.URL) {
	ask := request(to, chat(true, 100), "X-Events: 3\r\nX-Rate: 0\r\n")
	var open, beats, answered, lost atomic.Int64
	// What the process uses when nobody is there is no heartbeat's.
	idle := cpu()
	time.Sleep(5 * time.Second)
	idle = (cpu() - idle) / 5
	empty := rss()
	var all sync.WaitGroup
	places := make(chan struct{}, 256)
	for range *streams {
		all.Add(1)
		places <- struct{}{}
		go func() {
			defer all.Done()
			connection := dial(to)
			defer connection.Close()
			connection.Write(ask)
			answer, err := http.ReadResponse(bufio.NewReaderSize(connection, 512), nil)
			<-places
			if err != nil || answer.StatusCode != 200 {
				lost.Add(1)
				fmt.Fprintln(os.Stderr, "not opened:", err, answer)
				return
			}
			open.Add(1)
			lines, last := bufio.NewScanner(answer.Body), ""
			for lines.Scan() {
				line := lines.Bytes()
				if bytes.HasPrefix(line, []byte(`data: {"hearth":`)) {
					beats.Add(1)
				} else if bytes.HasPrefix(line, []byte("data: [DONE]")) {
					answered.Add(1)
					return
				}
				if len(line) > 0 {
					last = string(line)
				}
			}
			fmt.Fprintln(os.Stderr, "not answered:", lines.Err(), "after", last)
		}()
	}
	for open.Load()+lost.Load() < int64(*streams) {
		time.Sleep(100 * time.Millisecond)
	}
	full := rss()
	before, from := cpu(), beats.Load()
	time.Sleep(time.Duration(*seconds) * time.Second)
	used, count := cpu()-before-idle*float64(*seconds), beats.Load()-from
	began := time.Now()
	fmt.Fprintln(os.Stderr, "ready")
	all.Wait()
	tell(map[string]float64{
		"held_kib": (full - empty) / float64(*streams), "heartbeat_us": used / float64(count) * 1e6,
		"drain_seconds": time.Since(began).Seconds(), "answered": float64(answered.Load()), "beats": float64(count),
		"lost": float64(*streams) - float64(answered.Load()),
	})
}

func main() {
	if len(os.Args) < 2 {
		fail(fmt.Errorf("stream, unary, held or slow?"))
	}
	flag.CommandLine.Parse(os.Args[2:])
	to, err := url.Parse(*target)
	if err != nil {
		fail(err)
	}
	switch os.Args[1] {
	case "stream":
		stream(to)
	case "unary":
		unary(to)
	case "held":
		held(to)
	case "slow":
		crawl(to)
	default:
		fail(fmt.Errorf("%s: stream, unary, held or slow?", os.Args[1]))
	}
}
