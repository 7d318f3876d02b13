/**
 * Headers that every answer has, errors included. What a route has set stays.
 *
 * Nothing that a service sends is a page, unless its route says otherwise by a `Content-Security-Policy` of its own, so
 * nothing in it may run, load or be framed.
 */
import * as HttpServerResponse from "effect/http/HttpServerResponse"

const always: Readonly<Record<string, string>> = {
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cross-origin-resource-policy": "same-origin"
}

/** Adds the headers to an answer. One that says how it may be cached, or that has an ETag, may be cached. */
export const add = (response: HttpServerResponse.HttpServerResponse): HttpServerResponse.HttpServerResponse => {
  const { headers } = response
  const { "cache-control": cacheControl, etag } = headers
  const isCached = cacheControl !== undefined || etag !== undefined
  return HttpServerResponse.setHeaders(response, {
    ...always,
    ...(isCached ? {} : { "cache-control": "no-store" }),
    ...headers
  })
}
