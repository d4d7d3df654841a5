"""Backtests: start one, read what it found and the accounts behind each figure, stop it."""

from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.generics import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response

from pqlapp import bell
from pqlapp.api import auth, bodies, serializers
from pqlapp.api import filters as lists
from pqlapp.api.permissions import OVERSEERS, OWNERS
from pqlapp.api.views.door import Door, now
from scoring import backtest, jobs
from scoring.models import Backtest, RuleVersion


class BacktestView(Door):
    """What a version would have said on past days, and what became of those accounts."""

    rights = {
        "list": OVERSEERS,
        "retrieve": OVERSEERS,
        "accounts": OVERSEERS,
        "create": OWNERS,
        "stop": OWNERS,
    }
    filters = {"list": lists.BacktestFilter, "accounts": lists.BacktestedFilter}
    queryset = Backtest.objects.select_related("version__rule_set", "job", "created_by").defer("document")

    @extend_schema(responses=serializers.BacktestRow(many=True))
    def list(self, request: Request) -> Response:
        """List backtests, the newest first."""
        return self.page(self.get_queryset().defer("result"), serializers.BacktestRow)

    @extend_schema(responses=serializers.BacktestShown)
    def retrieve(self, request: Request, pk: str) -> Response:
        """Show a backtest; `result` is empty until its job is done."""
        return Response(serializers.BacktestShown(self._backtest(pk)).data)

    @extend_schema(request=bodies.NewBacktest, responses={202: serializers.BacktestShown})
    def create(self, request: Request) -> Response:
        """Try a version, draft or published, on the past; a job does it: follow it here."""
        said = self.read(bodies.NewBacktest)
        version = RuleVersion.objects.select_related("rule_set").filter(pk=said.pop("version")).first()
        if version is None:
            raise ValidationError({"version": "there is no such version"})
        try:
            started = backtest.start(version=version, by=auth.person(request=request), at=now(), **said)
        except backtest.OfUsers as error:
            raise ValidationError({"version": f"{error}"}) from error
        bell.ring_for_job(job=started.job)
        shown = serializers.BacktestShown(started).data
        return Response(shown, status=202, headers={"Location": f"/api/v1/backtests/{started.pk}"})

    @extend_schema(request=bodies.Nothing, responses=serializers.BacktestShown)
    @action(detail=True, methods=["post"])
    def stop(self, request: Request, pk: str) -> Response:
        """Stop a backtest that waits or runs; nothing of it is kept. One that has ended stays as it is."""
        self.read(bodies.Nothing)
        jobs.stop(job=self._backtest(pk).job, by=auth.person(request=request), at=now())
        return Response(serializers.BacktestShown(self._backtest(pk)).data)

    @extend_schema(responses=serializers.BacktestedShown(many=True))
    @action(detail=True, methods=["get"])
    def accounts(self, request: Request, pk: str) -> Response:
        """List the accounts behind a figure, which its `behind` names; without parameters all that were looked at."""
        one = self._backtest(pk)
        figure = {name: request.query_params[name] for name in request.query_params if name in backtest.FIGURES}
        try:
            rows = backtest.behind(backtest=one, figure=figure)
        except backtest.BadFigure as error:
            raise ValidationError(f"{error}") from error
        return self.page(rows, serializers.BacktestedShown)

    def _backtest(self, pk: str) -> Backtest:
        found: Backtest = get_object_or_404(self.get_queryset(), pk=pk)
        return found
