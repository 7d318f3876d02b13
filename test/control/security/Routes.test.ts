import { assert, describe, it } from "@effect/vitest"
import * as HttpApi from "effect/http-api/HttpApi"
import { ControlApi } from "../../../src/control/api/ControlApi.ts"
import * as RequestPath from "../../../src/control/security/RequestPath.ts"

/** The operations of the API: `GET /v1/torrents/:infoHash`. */
const operations: Array<readonly [method: string, path: string]> = []

HttpApi.reflect(ControlApi, {
  onGroup: () => {},
  onEndpoint: ({ endpoint }) => {
    operations.push([endpoint.method, endpoint.path])
  }
})

/** Paths of an operation, as clients may send them. */
const pathsOf = (path: string): ReadonlyArray<string> => {
  const filled = path.replaceAll(/:\w+/g, "c12f")
  return [filled, `${filled}/`, filled.toUpperCase(), filled.replace("v1", "%761"), `${filled}/..`]
}

describe("the operations of the API", () => {
  it("all need credentials, except for logging in and for the state of the service", () => {
    const open = operations.filter(([method, path]) => RequestPath.needOf(method, path)._tag !== "Credentials")
    assert.isAbove(operations.length, 30)
    assert.deepEqual(open.map((operation) => operation.join(" ")).sort(), [
      "GET /health",
      "GET /ready",
      "GET /v1/login",
      "POST /v1/login"
    ])
  })

  it("need them in every spelling of their paths", () => {
    for (const [method, path] of operations) {
      for (const sent of pathsOf(path)) {
        const parsed = RequestPath.parse(sent)
        const isOpen = parsed !== undefined && RequestPath.needOf(method, parsed)._tag !== "Credentials"
        if (isOpen) assert.include(["/health", "/ready", "/v1/login"], sent)
      }
    }
  })
})
