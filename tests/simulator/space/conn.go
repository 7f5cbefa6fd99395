package main

import (
	"fmt"
	"io"
	"log"
	"net"
	"sync"

	"golang.org/x/crypto/ssh"
)

// serve runs one SSH connection.
func serve(raw net.Conn, config *ssh.ServerConfig, opts options, children *children) {
	conn, channels, requests, err := ssh.NewServerConn(raw, config)
	if err != nil {
		raw.Close()
		return
	}
	defer conn.Close()
	forwards := &forwards{conn: conn, allowed: opts.remoteForward, listeners: map[string]net.Listener{}}
	go forwards.serve(requests)
	defer forwards.closeAll()
	var sessions sync.WaitGroup
	for offered := range channels {
		switch offered.ChannelType() {
		case "session":
			channel, requests, err := offered.Accept()
			if err != nil {
				continue
			}
			sessions.Add(1)
			go func() {
				defer sessions.Done()
				session := &session{conn: conn, channel: channel, opts: opts, children: children}
				session.serve(requests)
			}()
		case "direct-tcpip":
			go direct(offered, opts)
		default:
			offered.Reject(ssh.UnknownChannelType, "unsupported channel type")
		}
	}
	sessions.Wait()
}

// directPayload is the body of a direct-tcpip open, RFC 4254 section 7.2.
type directPayload struct {
	Host       string
	Port       uint32
	OriginHost string
	OriginPort uint32
}

// direct joins a direct-tcpip channel to a port inside the space.
func direct(offered ssh.NewChannel, opts options) {
	var payload directPayload
	if err := ssh.Unmarshal(offered.ExtraData(), &payload); err != nil {
		offered.Reject(ssh.ConnectionFailed, "malformed request")
		return
	}
	host := payload.Host
	if host == "localhost" {
		host = "127.0.0.1"
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		offered.Reject(ssh.Prohibited, "a simulated space has no network")
		return
	}
	dial := func() (net.Conn, error) { return net.Dial("tcp", net.JoinHostPort(host, fmt.Sprint(payload.Port))) }
	if payload.Port == jupyterPort {
		dial = opts.jupyter.dial
	}
	target, err := dial()
	if err != nil {
		offered.Reject(ssh.ConnectionFailed, err.Error())
		return
	}
	channel, requests, err := offered.Accept()
	if err != nil {
		target.Close()
		return
	}
	go ssh.DiscardRequests(requests)
	join(channel, target.(*net.TCPConn))
}

// join copies both ways, carries each side's end of input over to the other, and closes both when both have ended.
func join(channel ssh.Channel, target interface {
	io.ReadWriteCloser
	CloseWrite() error
}) {
	var both sync.WaitGroup
	both.Add(2)
	go func() {
		defer both.Done()
		io.Copy(target, channel)
		target.CloseWrite()
	}()
	go func() {
		defer both.Done()
		io.Copy(channel, target)
		channel.CloseWrite()
	}()
	both.Wait()
	channel.Close()
	target.Close()
}

// forwards are the ports that a client asked us to listen on; refused unless a flag allows it.
type forwards struct {
	conn    ssh.Conn
	allowed bool

	mutex     sync.Mutex
	listeners map[string]net.Listener
}

type forwardPayload struct {
	Host string
	Port uint32
}

type forwardedPayload struct {
	Host       string
	Port       uint32
	OriginHost string
	OriginPort uint32
}

func (f *forwards) serve(requests <-chan *ssh.Request) {
	for request := range requests {
		var payload forwardPayload
		known := request.Type == "tcpip-forward" || request.Type == "cancel-tcpip-forward"
		if !f.allowed || !known || ssh.Unmarshal(request.Payload, &payload) != nil {
			if request.WantReply {
				request.Reply(false, nil)
			}
			continue
		}
		if request.Type == "tcpip-forward" {
			f.listen(request, payload)
		} else {
			request.Reply(f.cancel(payload), nil)
		}
	}
}

func (f *forwards) listen(request *ssh.Request, payload forwardPayload) {
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", payload.Port))
	if err != nil {
		log.Printf("space: forward: %v", err)
		request.Reply(false, nil)
		return
	}
	port := uint32(listener.Addr().(*net.TCPAddr).Port)
	f.mutex.Lock()
	f.listeners[fmt.Sprintf("%s:%d", payload.Host, port)] = listener
	f.mutex.Unlock()
	if payload.Port == 0 {
		request.Reply(true, ssh.Marshal(struct{ Port uint32 }{port}))
	} else {
		request.Reply(true, nil)
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go f.forward(conn.(*net.TCPConn), payload.Host, port)
		}
	}()
}

func (f *forwards) forward(conn *net.TCPConn, host string, port uint32) {
	origin := conn.RemoteAddr().(*net.TCPAddr)
	body := forwardedPayload{host, port, origin.IP.String(), uint32(origin.Port)}
	channel, requests, err := f.conn.OpenChannel("forwarded-tcpip", ssh.Marshal(body))
	if err != nil {
		conn.Close()
		return
	}
	go ssh.DiscardRequests(requests)
	join(channel, conn)
}

func (f *forwards) cancel(payload forwardPayload) bool {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	key := fmt.Sprintf("%s:%d", payload.Host, payload.Port)
	listener, known := f.listeners[key]
	if known {
		listener.Close()
		delete(f.listeners, key)
	}
	return known
}

func (f *forwards) closeAll() {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	for _, listener := range f.listeners {
		listener.Close()
	}
}
