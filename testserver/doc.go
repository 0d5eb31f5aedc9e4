// Package testserver is ferry's cloud endpoint: it authenticates sandboxes,
// accepts their sessions, dials the targets of their tunnels and joins the two.
// The name says what it is bundled for; it is a real endpoint, not a mock.
//
// In a test, Start gives one on a loopback port:
//
//	endpoint, err := testserver.Start(testserver.Config{AllowPrivate: true})
//	if err != nil {
//		t.Fatal(err)
//	}
//	defer endpoint.Close()
//	c, err := client.New(client.Config{URL: endpoint.URL, Token: endpoint.Token})
//
// Elsewhere, New gives an http.Handler, and its Serve a server with the right
// timeouts:
//
//	server := testserver.New(testserver.Config{Token: token})
//	go server.Serve(listener)
//	…
//	server.Shutdown(ctx) // lets tunnels finish until ctx ends
package testserver
