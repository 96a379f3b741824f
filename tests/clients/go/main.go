// Go's own net/http. usage: main 1|2
package main

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
)

func main() {
	if os.Args[1] == "1" {
		// As its documentation says how to do without HTTP/2.
		http.DefaultTransport.(*http.Transport).TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	}

	fmt.Println(string(read(ask("GET", "/hello", nil))))

	body := make([]byte, 3<<20)
	check(rand.Read(body))
	// Of a reader that it does not know it cannot say the length.
	back := read(ask("POST", "/echo", io.MultiReader(bytes.NewReader(body))))
	fmt.Println(len(back), map[bool]string{true: "same", false: "other"}[bytes.Equal(back, body)])

	events := bufio.NewScanner(ask("GET", "/events", nil).Body)
	for events.Scan() {
		if events.Text() == "" {
			continue
		}
		fmt.Println(events.Text())
		if strings.HasSuffix(events.Text(), "one") {
			read(ask("GET", "/release", nil))
		}
	}
}

func ask(method, path string, body io.Reader) *http.Response {
	request := check(http.NewRequest(method, "https://api.example.com"+path, body))
	request.Header.Set("Authorization", "Bearer "+os.Getenv("API_TOKEN"))
	return check(http.DefaultClient.Do(request))
}

func read(answer *http.Response) []byte {
	defer answer.Body.Close()
	return check(io.ReadAll(answer.Body))
}

func check[T any](value T, err error) T {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return value
}
