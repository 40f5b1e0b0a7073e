        item = deployment()
        item["metadata"]["namespace"] = "gone"
        answer = api.post(APPS.replace("ai", "gone"), json=item)
        assert refused(answer, 404, "NotFound") == 'namespaces "gone" not found'
        answer = apply(api, item, "m", f"{APPS.replace('ai', 'gone')}/d")
        assert refused(answer, 404, "NotFound") == 'namespaces "gone" not found'

    def test_a_generated_name(self, api: TestClient) -> None:
