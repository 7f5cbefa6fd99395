package main

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// jupyterPort is where JupyterLab listens inside a real space; forwards to it reach our own port.
const jupyterPort = 8888

// jupyter answers the few reads that idle watchers make. Tests script it: what they PUT on a path is what GET answers.
type jupyter struct {
	mutex   sync.Mutex
	answers map[string][]byte
}

func newJupyter() *jupyter {
	now := time.Now().UTC().Format(time.RFC3339Nano)
	status, _ := json.Marshal(map[string]any{"connections": 0, "kernels": 0, "last_activity": now, "started": now})
	return &jupyter{answers: map[string][]byte{
		"/api":           []byte(`{"version":"2.14.2"}`),
		"/api/status":    status,
		"/api/sessions":  []byte(`[]`),
		"/api/kernels":   []byte(`[]`),
		"/api/terminals": []byte(`[]`),
	}}
}

// serveJupyter serves the API on a port of its own and returns the port.
func serveJupyter() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	go http.Serve(listener, newJupyter())
	return listener.Addr().(*net.TCPAddr).Port, nil
}

func (j *jupyter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, "/jupyterlab/default"), "/")
	j.mutex.Lock()
	defer j.mutex.Unlock()
	switch r.Method {
	case http.MethodGet:
		body, known := j.answers[path]
		if !known {
			http.Error(w, `{"message":"Not Found"}`, http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Write(body)
	case http.MethodPut:
		body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		if err != nil || !json.Valid(body) {
			http.Error(w, `{"message":"not JSON"}`, http.StatusBadRequest)
			return
		}
		j.answers[path] = body
		w.WriteHeader(http.StatusNoContent)
	default:
		http.Error(w, `{"message":"Method Not Allowed"}`, http.StatusMethodNotAllowed)
	}
}
