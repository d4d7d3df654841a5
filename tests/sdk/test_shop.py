"""The page on which the browser libraries run: another origin, with nothing else of the world in reach."""


class TestShop:
    def test_it_has_the_library_and_another_origin_than_the_server(self, shop, wire):
        page = shop("@segment/analytics-next/dist/umd/standalone.js")
        assert page.evaluate("typeof AnalyticsNext") == "object"
        assert page.evaluate("location.origin") != wire.url

    def test_it_reaches_this_machine_alone(self, shop, wire):
        page = shop()
        assert page.evaluate("url => fetch(url).then(r => r.status, e => e.name)", f"{wire.url}/healthz") == "TypeError"
        assert page.evaluate("fetch('https://example.com').catch(error => error.name)") == "TypeError"
        post = "url => fetch(url, {method: 'POST', body: '{}'}).then(answer => answer.status)"
        assert page.evaluate(post, f"{wire.url}/v1/track") == 401

    def test_a_failure_of_the_gateway_is_seen_by_the_page(self, shop, wire):
        wire.flaky.fail(status=503, Retry_After="7")
        post = "url => fetch(url, {method: 'POST', body: '{}', credentials: 'include'})"
        asked = f"({post})('{wire.url}/v1/track').then(answer => [answer.status, answer.headers.get('retry-after')])"
        assert shop().evaluate(asked) == [503, "7"]
        assert wire.flaky.posts("/v1/track") == [503]
