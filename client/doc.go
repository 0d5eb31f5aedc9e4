// Package client is ferry's half in the sandbox: an HTTP proxy on a loopback
// port whose CONNECT tunnels all go through one session with the endpoint.
//
//	c, err := client.New(client.Config{URL: "wss://relay.example", Token: token})
//	if err != nil {
//		return err
//	}
//	fmt.Println(c.ProxyURL()) // http://127.0.0.1:PORT, for HTTPS_PROXY
//	return c.Run(ctx)         // until ctx ends
//
// A program can also go through the tunnel itself, while Run is running:
//
//	transport := &http.Transport{DialContext: c.DialContext}
package client
