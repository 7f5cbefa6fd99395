// Command space is the SSH server of one simulated Studio space, on the library that AWS's own server is built on.
//
// It authenticates nobody, makes a new host key each time it starts, listens on loopback and prints one line of JSON
// with its ports. It ends, with everything it started, when its standard input closes.
package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/crypto/ssh"
)

// options are the flags of one run, and the port that its Jupyter API got.
type options struct {
	home          string
	remoteForward bool
	jupyter       int
}

func main() {
	var opts options
	flag.StringVar(&opts.home, "home", "", "home directory of the space (required)")
	flag.BoolVar(&opts.remoteForward, "remote-forward", false, "accept tcpip-forward requests")
	flag.Parse()
	log.SetFlags(0)
	if opts.home == "" {
		log.Fatal("space: -home is required")
	}

	// SFTP resolves relative paths against the working directory.
	if err := os.Chdir(opts.home); err != nil {
		log.Fatal("space: ", err)
	}
	config, err := serverConfig()
	if err != nil {
		log.Fatal("space: ", err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal("space: ", err)
	}
	jupyter, err := serveJupyter()
	if err != nil {
		log.Fatal("space: ", err)
	}
	opts.jupyter = jupyter
	ports := map[string]int{"ssh": listener.Addr().(*net.TCPAddr).Port, "jupyter": jupyter}
	children := newChildren()
	if err := json.NewEncoder(os.Stdout).Encode(ports); err != nil {
		log.Fatal("space: ", err)
	}

	var connections sync.Map
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			connections.Store(conn, true)
			go func() {
				defer connections.Delete(conn)
				serve(conn, config, opts, children)
			}()
		}
	}()
	waitForEnd()
	listener.Close()
	// A machine that is taken away says nothing of how its programs ended.
	connections.Range(func(conn, _ any) bool {
		conn.(net.Conn).Close()
		return true
	})
	children.killAll()
}

// serverConfig is a server without authentication, with a host key that lives as long as the process.
func serverConfig() (*ssh.ServerConfig, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("host key: %w", err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		return nil, fmt.Errorf("host key: %w", err)
	}
	config := &ssh.ServerConfig{NoClientAuth: true, ServerVersion: "SSH-2.0-Go"}
	config.AddHostKey(signer)
	return config, nil
}

// waitForEnd returns when standard input closes (whoever started us is gone) or a signal asks us to go.
func waitForEnd() {
	done := make(chan struct{}, 2)
	go func() {
		io.Copy(io.Discard, os.Stdin)
		done <- struct{}{}
	}()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	go func() {
		<-signals
		done <- struct{}{}
	}()
	<-done
}
