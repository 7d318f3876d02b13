/**
 * How a page in a browser logs in with the password of a service, and out again. Programs send the token instead.
 */
import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import * as OpenApi from "effect/http-api/OpenApi"
import * as Schema from "effect/Schema"
import { Login } from "../security/Logins.ts"

/** The most characters of a password. */
const maxPassword = 1_024

const describe = (summary: string, description: string) => OpenApi.annotations({ summary, description })

/** Logging in and out. */
export const LoginApi = HttpApiGroup.make("login")
  .add(
    HttpApiEndpoint.get("whoAmI", "/login", { success: Login }).annotateMerge(
      describe("Show who the caller is", "Needs no credentials.")
    ),
    HttpApiEndpoint.post("login", "/login", {
      payload: Schema.Struct({ password: Schema.String.check(Schema.isMaxLength(maxPassword)) }),
      success: Login
    }).annotateMerge(describe("Log in with the password", "The answer sets a cookie.")),
    HttpApiEndpoint.delete("logout", "/login").annotateMerge(describe("Log out", "Removes the cookie."))
  )
  .annotateMerge(OpenApi.annotations({ title: "Login" }))
