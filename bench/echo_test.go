package bench

import (
	"context"
	"io"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ferry/client"
	"ferry/testserver"
)

// dialer opens a connection to a target over the link under test.
type dialer func(ctx context.Context, network, address string) (net.Conn, error)

// overFerry dials through a pair whose WebSocket crosses the link.
func overFerry(b *testing.B, l *Link) dialer {
	b.Helper()
	endpoint, err := testserver.Start(testserver.Config{AllowPrivate: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = endpoint.Close() })
	host := strings.TrimSuffix(strings.TrimPrefix(endpoint.URL, "ws://"), "/v1/relay")
	address, err := l.Listen(b.Context(), host)
	if err != nil {
		b.Fatal(err)
	}
	c, err := client.New(client.Config{URL: "ws://" + address, Token: endpoint.Token})
	if err != nil {
		b.Fatal(err)
	}
	go func() { _ = c.Run(context.Background()) }()
	b.Cleanup(func() { _ = c.Close() })
	return c.DialContext
}

// overTCP dials each target over the link directly: a TCP connection for each
// tunnel, which is the limit.
func overTCP(b *testing.B, l *Link) dialer {
	b.Helper()
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		front, err := l.Listen(b.Context(), address)
		if err != nil {
			return nil, err
		}
		return new(net.Dialer).DialContext(ctx, network, front)
	}
}

// serve runs a target until the benchmark ends.
func serve(b *testing.B, each func(net.Conn)) string {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			b.Cleanup(func() { _ = conn.Close() })
			go each(conn)
		}
	}()
	return l.Addr().String()
}

func open(b *testing.B, dial dialer, address string) net.Conn {
	b.Helper()
	conn, err := dial(b.Context(), "tcp", address)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	return conn
}

// flood writes until its connection fails.
func flood(c net.Conn) {
	for p := make([]byte, 64<<10); ; {
		if _, err := c.Write(p); err != nil {
			return
		}
	}
}

// counted counts what it throws away.
type counted struct{ n atomic.Int64 }

func (c *counted) Write(p []byte) (int, error) {
	c.n.Add(int64(len(p)))
	return len(p), nil
}

// BenchmarkEchoUnderLoad is the round trip of an echo while four uploads and four
// downloads fill a link of 20 Mbit/s and 40 ms. Each iteration is one echo.
func BenchmarkEchoUnderLoad(b *testing.B) {
	for _, how := range []struct {
		name string
		over func(*testing.B, *Link) dialer
	}{{"limit", overTCP}, {"ferry", overFerry}} {
		b.Run(how.name, func(b *testing.B) {
			l := &Link{Delay: 20 * time.Millisecond, Rate: 20_000_000}
			dial := how.over(b, l)
			var moved counted
			sink := serve(b, func(c net.Conn) { _, _ = io.Copy(&moved, c) })
			source := serve(b, flood)
			for range 4 {
				go flood(open(b, dial, sink))
				down := open(b, dial, source)
				go func() { _, _ = io.Copy(&moved, down) }()
			}
			echo := open(b, dial, serve(b, func(c net.Conn) { _, _ = io.Copy(c, c) }))
			p := make([]byte, 64)
			trip := func() time.Duration {
				began := time.Now()
				if _, err := echo.Write(p); err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(echo, p); err != nil {
					b.Fatal(err)
				}
				return time.Since(began)
			}
			for range 20 {
				trip() // until the queues are full
			}
			var trips []time.Duration
			began, before := time.Now(), moved.n.Load()
			for b.Loop() {
				trips = append(trips, trip())
			}
			rate := float64(moved.n.Load()-before) * 8 / time.Since(began).Seconds()
			slices.Sort(trips)
			b.ReportMetric(float64(trips[len(trips)/2].Milliseconds()), "ms/median")
			b.ReportMetric(float64(trips[len(trips)*99/100].Milliseconds()), "ms/p99")
			b.ReportMetric(100*rate/(2*float64(l.Rate)), "%rate")
			b.ReportMetric(0, "ns/op")
		})
	}
}
