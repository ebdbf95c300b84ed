// Tollgate links with golang-jwt: go run links.go KEYS.jwks ORIGIN ORDER
package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v4"
)

var keys struct{ Keys []struct{ Kid, K string } }

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func link(path string, claims jwt.MapClaims) string {
	now := time.Now().Unix()
	claims["iss"], claims["acct"], claims["iat"], claims["exp"] = "shop", "demo", now, now+3600
	token := jwt.NewWithClaims(jwt.SigningMethodHS256, claims)
	token.Header["kid"] = keys.Keys[0].Kid
	secret := must(base64.RawURLEncoding.DecodeString(keys.Keys[0].K))
	escaped := strings.ReplaceAll(url.PathEscape(path), "%2F", "/")
	return os.Args[2] + escaped + "?URISigningPackage=" + must(token.SignedString(secret))
}

func main() {
	must(0, json.Unmarshal(must(os.ReadFile(os.Args[1])), &keys))
	file := "/Café/01 – 100% #1?.mp3"
	song := link(file, jwt.MapClaims{"cdniuc": "exact:" + file, "resume": 86400})
	album := link(file, jwt.MapClaims{"cdniuc": "prefix:/Café/", "max_uses": 1, "jti": os.Args[3]})
	fmt.Printf("%s\n%s\n", song, album)

	// The song under the album's signature, which is the last 43 characters.
	answer := must(http.Get(song[:len(song)-43] + album[len(album)-43:]))
	var refusal struct{ Reason string }
	must(0, json.NewDecoder(answer.Body).Decode(&refusal))
	fmt.Println(answer.StatusCode, refusal.Reason)
}
