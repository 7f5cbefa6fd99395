// Command space is the SSH server of one simulated Studio space, on the library that AWS's own server is built on.
//
// It authenticates nobody, makes a new host key each time it starts, listens on loopback and prints one line of JSON
// with its port. Each line on its standard input scripts what the space shows of its inside, and is answered by a line
// of JSON. It ends, with everything it started, when its standard input closes.
package main

import (
	"bufio"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"

	"golang.org/x/crypto/ssh"
)

// options are the flags of one run, and the Jupyter API of the space.
type options struct {
	home          string
	tmp           string
	app           string
	gpus          int
	remoteForward bool
	isolate       bool
	inside        bool
	check         bool
	jupyter       *jupyter
}

func main() {
	log.SetFlags(0)
	if filepath.Base(os.Args[0]) == gpuProgram {
		os.Exit(nvidiaSMI(os.Args[1:]))
	}
	var opts options
	flag.StringVar(&opts.home, "home", "", "home directory of the space (required)")
	flag.StringVar(&opts.tmp, "tmp", "", "what is /tmp in an isolated space")
	flag.StringVar(&opts.app, "app", "JupyterLab", "type of the space's app")
	flag.IntVar(&opts.gpus, "gpus", 0, "GPUs of an isolated space")
	flag.BoolVar(&opts.remoteForward, "remote-forward", false, "accept tcpip-forward requests")
	flag.BoolVar(&opts.isolate, "isolate", false, "have processes, terminals and /tmp of the space's own")
	flag.BoolVar(&opts.inside, "inside", false, "run as the first process of namespaces (used by -isolate)")
	flag.BoolVar(&opts.check, "check", false, "end once the space is furnished")
	flag.Parse()
	if opts.home == "" {
		log.Fatal("space: -home is required")
	}
	if opts.isolate && !opts.inside {
		enter()
	}
	if opts.inside {
		if err := furnish(opts); err != nil {
			log.Fatal("space: ", err)
		}
	}
	if opts.check {
		return
	}
	run(opts)
}

// run is the life of the space.
func run(opts options) {
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
	opts.jupyter, err = serveJupyter(opts.app)
	if err != nil {
		log.Fatal("space: ", err)
	}
	children := newChildren()
	if err := json.NewEncoder(os.Stdout).Encode(map[string]int{"ssh": listener.Addr().(*net.TCPAddr).Port}); err != nil {
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
	waitForEnd(opts)
	listener.Close()
	// A machine that is taken away says nothing of how its programs ended.
	connections.Range(func(conn, _ any) bool {
		conn.(net.Conn).Close()
		return true
	})
	// What is left in a namespace ends with its first process.
	if !opts.inside {
		children.killAll()
	}
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

// waitForEnd takes orders until standard input closes (whoever started us is gone) or a signal asks us to go.
func waitForEnd(opts options) {
	done := make(chan struct{}, 2)
	go func() {
		orders := bufio.NewScanner(os.Stdin)
		orders.Buffer(nil, 1<<20)
		for orders.Scan() {
			var answer struct {
				Error string `json:"error"`
			}
			if err := obey(orders.Bytes(), opts); err != nil {
				answer.Error = err.Error()
			}
			json.NewEncoder(os.Stdout).Encode(answer)
		}
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

// obey scripts a part of what the space shows of its inside.
func obey(line []byte, opts options) error {
	var order struct {
		Jupyter *scene `json:"jupyter"`
		GPUs    *gpus  `json:"gpus"`
	}
	if err := json.Unmarshal(line, &order); err != nil {
		return err
	}
	if order.Jupyter != nil {
		opts.jupyter.set(*order.Jupyter)
	}
	if order.GPUs == nil {
		return nil
	}
	if opts.gpus == 0 || !opts.inside {
		return errors.New("the space has no GPUs")
	}
	return order.GPUs.write(opts.gpus)
}
