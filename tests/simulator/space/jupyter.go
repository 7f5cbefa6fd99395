package main

import (
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// jupyterPort is where JupyterLab listens inside a real space; forwards to it reach our own port.
	jupyterPort = 8888
	// jupyterBase is the path of its API.
	jupyterBase = "/jupyterlab/default/api"
)

// talk is when something was last heard: now and again as long as it talks, and once when it last did.
type talk struct {
	// Talking moves the time with the clock, as output does.
	Talking bool `json:"talking"`
	// QuietSeconds is for how long nothing was heard; what is known and unchanged stays where it was if absent.
	QuietSeconds *float64 `json:"quiet_s"`
	heard        time.Time
}

// begin takes the time over from what was known before.
func (t *talk) begin(now time.Time, before *talk) {
	switch {
	case t.QuietSeconds != nil:
		t.heard = now.Add(-time.Duration(*t.QuietSeconds * float64(time.Second)))
	case before != nil && !before.Talking:
		t.heard = before.heard
	default:
		t.heard = now
	}
}

func (t *talk) last(now time.Time) time.Time {
	if t.Talking {
		return now
	}
	return t.heard
}

// kernel runs a notebook. That it computes is no sign of its own: only what it says moves its last activity.
type kernel struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	Notebook    string `json:"notebook"`
	State       string `json:"state"`
	Connections int    `json:"connections"`
	talk
}

// shell is a terminal of JupyterLab.
type shell struct {
	Name string `json:"name"`
	talk
}

// scene is what runs in JupyterLab, and how its API fails.
type scene struct {
	Kernels   []kernel `json:"kernels"`
	Terminals []shell  `json:"terminals"`
	Fault     string   `json:"fault"`
}

// jupyter answers reads of Jupyter Server's API.
type jupyter struct {
	address string
	// Code Editor has a port, but no such API.
	absent  bool
	started time.Time

	mutex sync.Mutex
	scene scene
	asked time.Time
}

// serveJupyter serves the API on a port of its own.
func serveJupyter(app string) (*jupyter, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	now := time.Now()
	served := &jupyter{address: listener.Addr().String(), absent: app != "JupyterLab", started: now, asked: now}
	go http.Serve(listener, served)
	return served, nil
}

// dial connects to the API, as to its port in a real space.
func (j *jupyter) dial() (net.Conn, error) {
	if _, fault := j.now(); fault == "closed" {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
	return net.Dial("tcp", j.address)
}

// set replaces what runs. A kernel that is new, or that was in another state, was heard just now.
func (j *jupyter) set(next scene) {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	now := time.Now()
	for i := range next.Kernels {
		var before *talk
		for k := range j.scene.Kernels {
			known := &j.scene.Kernels[k]
			if known.ID == next.Kernels[i].ID && known.State == next.Kernels[i].State {
				before = &known.talk
			}
		}
		next.Kernels[i].begin(now, before)
	}
	for i := range next.Terminals {
		var before *talk
		for k := range j.scene.Terminals {
			if known := &j.scene.Terminals[k]; known.Name == next.Terminals[i].Name {
				before = &known.talk
			}
		}
		next.Terminals[i].begin(now, before)
	}
	j.scene = next
}

func (j *jupyter) now() (scene, string) {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	return j.scene, j.scene.Fault
}

func (j *jupyter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	scene, fault := j.now()
	switch fault {
	case "hangs":
		// Also for a client that has nothing more to send, which ends the request's context.
		select {}
	case "nonsense":
		w.Write([]byte("<html>Everything is fine.</html>"))
		return
	}
	path := strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, jupyterBase), "/")
	known := !j.absent && strings.HasPrefix(r.URL.Path, jupyterBase)
	if known && r.Method != http.MethodGet {
		answer(w, http.StatusMethodNotAllowed, message("Method Not Allowed"))
		return
	}
	// Asking is an activity of the server, unless who asks says otherwise; asking for the status is none.
	if known && path != "/status" && r.URL.Query().Get("no_track_activity") == "" {
		j.mutex.Lock()
		j.asked = time.Now()
		j.mutex.Unlock()
	}
	body := any(nil)
	if known {
		body = j.read(path, scene, time.Now())
	}
	if body == nil {
		answer(w, http.StatusNotFound, message("Not Found"))
		return
	}
	answer(w, http.StatusOK, body)
}

// read gives what the server has at a path below its API; nil if that is nothing.
func (j *jupyter) read(path string, scene scene, now time.Time) any {
	kernels, sessions, terminals := []any{}, []any{}, []any{}
	for i := range scene.Kernels {
		kernels = append(kernels, scene.Kernels[i].model(now))
		sessions = append(sessions, scene.Kernels[i].session(now))
	}
	for i := range scene.Terminals {
		terminals = append(terminals, scene.Terminals[i].model(now))
	}
	switch path {
	case "":
		return map[string]any{"version": "2.14.2"}
	case "/status":
		return j.status(scene, now)
	case "/kernels":
		return kernels
	case "/sessions":
		return sessions
	case "/terminals":
		return terminals
	}
	for i := range scene.Kernels {
		if path == "/kernels/"+scene.Kernels[i].ID {
			return kernels[i]
		}
	}
	for i := range scene.Terminals {
		if path == "/terminals/"+scene.Terminals[i].Name {
			return terminals[i]
		}
	}
	return nil
}

func (k *kernel) model(now time.Time) map[string]any {
	return map[string]any{
		"id": k.ID, "name": k.Name, "last_activity": stamp(k.last(now)), "execution_state": k.State,
		"connections": k.Connections,
	}
}

func (k *kernel) session(now time.Time) map[string]any {
	return map[string]any{
		"id": "session-" + k.ID, "path": k.Notebook, "name": k.Notebook, "type": "notebook", "kernel": k.model(now),
		"notebook": map[string]any{"path": k.Notebook, "name": k.Notebook},
	}
}

func (s *shell) model(now time.Time) map[string]any {
	return map[string]any{"name": s.Name, "last_activity": stamp(s.last(now))}
}

func (j *jupyter) status(scene scene, now time.Time) map[string]any {
	j.mutex.Lock()
	last := j.asked
	j.mutex.Unlock()
	connections := 0
	latest := func(heard time.Time) {
		if heard.After(last) {
			last = heard
		}
	}
	for i := range scene.Kernels {
		connections += scene.Kernels[i].Connections
		latest(scene.Kernels[i].last(now))
	}
	for i := range scene.Terminals {
		latest(scene.Terminals[i].last(now))
	}
	return map[string]any{
		"connections": connections, "kernels": len(scene.Kernels), "last_activity": stamp(last),
		"started": stamp(j.started),
	}
}

// stamp is a time as Jupyter Server writes it.
func stamp(at time.Time) string {
	return at.UTC().Format("2006-01-02T15:04:05.000000Z")
}

func message(words string) map[string]any {
	return map[string]any{"message": words, "reason": nil}
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body)
}
