class TestSegmentNode:
    def test_a_track(self, node, wire):
        assert node("segment_node.mjs") == {"failures": []}
        assert wire.event("File Uploaded").properties == {"size": 17}
        assert wire.flaky.posts("/v1/batch") == [200]

    def test_an_answer_that_is_lost_is_asked_for_again_and_counts_once(self, node, wire):
        wire.flaky.fail(2, stored=True)
        assert node("segment_node.mjs") == {"failures": []}
        assert wire.event("File Uploaded").properties == {"size": 17}
        assert wire.flaky.posts("/v1/batch") == [500, 500, 200]
