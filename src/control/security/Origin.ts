/**
 * Which page sent a request, as far as a browser says so. Programs that are no browsers send neither header.
 *
 * `Sec-Fetch-Site` (Fetch Metadata Request Headers) and `Origin` (RFC 6454) are set by the browser, and no page can
 * change them. The name in `Host` has been checked before (`HostName.ts`).
 */
import type { Authority } from "./HostName.ts"

/**
 * - `own`: our own page, a user who typed the address, or no browser.
 * - `allowed`: a page elsewhere that may use the service.
 * - `foreign`: any other page.
 */
export type Sender = "own" | "allowed" | "foreign"

/** What is known of a request. */
export interface Facts {
  /** The header `Origin`. */
  readonly origin: string | undefined
  /** The header `Sec-Fetch-Site`. */
  readonly fetchSite: string | undefined
  /** Where the request was sent. */
  readonly host: Authority
  /** The scheme that the client used, if a trusted proxy said so. */
  readonly protocol: "http" | "https" | undefined
  /** Origins of pages that may use the service. */
  readonly allowedOrigins: ReadonlySet<string>
}

/**
 * Says who sent a request. A browser marks requests from other ports and other subdomains as `same-site`: what listens
 * there may be another user's program, so it is foreign too.
 */
export const senderOf = ({ allowedOrigins, fetchSite, host, origin, protocol }: Facts): Sender => {
  if (origin !== undefined && allowedOrigins.has(origin)) return "allowed"
  if (origin !== undefined && !isOwn(origin, host, protocol)) return "foreign"
  return fetchSite === undefined || fetchSite === "same-origin" || fetchSite === "none" ? "own" : "foreign"
}

/** The origin of a page: scheme, host and port, without a path; `undefined` if a text is none. */
const parse = (text: string): URL | undefined => {
  const url = URL.parse(text)
  return url !== null && /^https?:$/.test(url.protocol) && url.origin === text ? url : undefined
}

/** Whether a text is the origin of a page, such as `https://panel.example.org` or an extension's. Not `null` or `*`. */
export const isOrigin = (text: string): boolean =>
  parse(text) !== undefined || /^(?!https?:)[a-z][a-z0-9+.-]*:\/\/[A-Za-z0-9._-]+$/.test(text)

const isOwn = (origin: string, { host, isAddress, port }: Authority, protocol: "http" | "https" | undefined) => {
  const url = parse(origin)
  if (url === undefined) return false
  if (protocol !== undefined && url.protocol !== `${protocol}:`) return false
  const ownPort = url.protocol === "https:" ? 443 : 80
  const isPort = (url.port === "" ? ownPort : Number(url.port)) === (port ?? ownPort)
  const name = isAddress && host.includes(":") ? `[${host}]` : host
  return isPort && url.hostname.replace(/\.$/, "") === name
}
