package main

import (
	"net"
	"os"
	"path/filepath"

	"golang.org/x/crypto/ssh"
)

// agentSocket is the Unix socket behind SSH_AUTH_SOCK; each connection becomes a channel to the client's agent.
type agentSocket struct {
	path     string
	folder   string
	listener *net.UnixListener
}

func newAgentSocket(conn *ssh.ServerConn) (*agentSocket, error) {
	folder, err := os.MkdirTemp("", "space-agent")
	if err != nil {
		return nil, err
	}
	path := filepath.Join(folder, "agent")
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		os.RemoveAll(folder)
		return nil, err
	}
	socket := &agentSocket{path: path, folder: folder, listener: listener}
	go socket.serve(conn)
	return socket, nil
}

func (a *agentSocket) serve(conn *ssh.ServerConn) {
	for {
		local, err := a.listener.AcceptUnix()
		if err != nil {
			return
		}
		go func() {
			channel, requests, err := conn.OpenChannel("auth-agent@openssh.com", nil)
			if err != nil {
				local.Close()
				return
			}
			go ssh.DiscardRequests(requests)
			join(channel, local)
		}()
	}
}

func (a *agentSocket) close() {
	a.listener.Close()
	os.RemoveAll(a.folder)
}
